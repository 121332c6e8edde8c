"""From bytes to ids: where text comes from, the alphabet it is spelled in and the lanes it is read along."""

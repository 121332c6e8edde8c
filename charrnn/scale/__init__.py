"""More of the same: several processes, sweeps, trackers, compiled sampling."""

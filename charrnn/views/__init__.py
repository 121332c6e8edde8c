"""Results as rich renderables and pictures: nothing here computes with torch, prints or writes."""

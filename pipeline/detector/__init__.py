"""What the SBC is: regions, defects, flags and scale, and how counts become rates."""

"""The MiniCPM-o brain as stages: each loads its own part of the checkpoint, and no other."""

"""Walls around code that a model wrote: bubblewrap, or Landlock and seccomp, proved before the first candidate."""

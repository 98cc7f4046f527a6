"""Text: where it comes from, the samples made of it, and the pocket corpus."""

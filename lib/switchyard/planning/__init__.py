"""What a study needs of the machines that it runs on: memory, cards, time and disk."""

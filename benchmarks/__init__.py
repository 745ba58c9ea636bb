"""What the README claims about speed, measured again by `make bench`: each figure side by side with the alternative, in one run."""

"""From arguments, lists and URLs to videos and what belongs to them."""

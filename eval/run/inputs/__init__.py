"""From arguments, lists and URLs to videos and their references, boxes and sounds."""

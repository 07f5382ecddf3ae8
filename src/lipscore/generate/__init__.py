"""Making lips follow a sound: generators of talking-head video, a folder each."""

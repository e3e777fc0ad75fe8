"""One live filter for every way in: the model it holds, judging off the event loop, the mode it is in."""

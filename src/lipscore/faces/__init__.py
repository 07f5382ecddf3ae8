"""Face detectors, all called the same way: frames in, boxes out (`lipscore.types.Detector`)."""

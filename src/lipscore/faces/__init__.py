"""Face detectors behind one interface (`lipscore.types.Detector`), and the processing of their boxes."""

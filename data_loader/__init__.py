"""From a folder of photos to batches: finding, labelling, splitting, cropping, augmenting."""

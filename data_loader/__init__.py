"""From a folder of photos to batches: finding, labeling, splitting, cropping, augmenting."""

"""The contracts every project built on this framework keeps: loaders, models, trainers."""

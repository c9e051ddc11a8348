"""The parts of the web page: which models, which photos, what they answer, how it is shown."""

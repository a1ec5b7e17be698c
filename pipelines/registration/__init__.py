"""What the `register` stage is made of.

judging    the selected model and production, evaluated on the same pictures, before the gate
smoke      load a file as the service does and ask it something
runs       MLflow's runs: find a model's training run, or make one; log the test metrics
package    the folder that is registered
publish    a verdict becomes a model version: tags, page, files, aliases
recorded   what was decided before, so that nothing is decided twice
memo       a note that saves asking a local registry whose file did not change
"""

"""What the `register` stage is made of.

runs       MLflow's runs: find a model's training run, or make one; log the test metrics
package    the folder that is registered
publish    a verdict becomes a model version: tags, page, files, aliases
recorded   whether the registry knows a verdict already, so that nothing is published twice
memo       a note that saves asking a local registry whose file did not change
"""

"""The `register` stage: publishes a model that the quality gate passed or held to MLflow's registry.

runs       find a model's training run in MLflow, or make one; log the test metrics
package    the folder that is registered
publish    make or update a model version: tags, description, files, aliases
history    find out whether the registry already has a verdict, so that nothing is published twice
status     read the registry, with caches that avoid opening a local registry that has not changed
promote    set the alias `production`
reproduce  rebuild a registered version from its commit
"""

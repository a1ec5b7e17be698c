"""What every stage uses: paths, parameters, records of results, source pictures, errors, the command line.

params, paths            `params.yaml` as checked values, and where every file of the pipeline is
records                  reads and writes result files by their types
results                  types of `metrics.json`, `machine.json`, `latency.json` and `comparison.json`
model_results            types of the results about one model: `origin.json`, `training.json`, `export.json`
data_results, dataset    types of the results about the data, and the prepared data set
manifest, source_images, pixel_table, attributes    rows, pictures and people of the data
lineage, variants, reference, sample_remote         origin of a result, float32 and int8, drift's reference
cli, errors, io          one process per stage, its errors, files that are written whole
"""

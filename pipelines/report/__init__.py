"""The training report: one self-contained HTML file with light and dark themes for wide and narrow screens.

inputs      reads all results of the pipeline; None for a result that does not exist
freshness   finds results of an earlier run
charts      chart style, Matplotlib figures as inline SVG, placement of labels
formatting  numbers as text, pictures as data URIs
page        the `Section` class
sections/   one function for each section: charts and template variables
model_card  the model card as Markdown
stage       renders the sections through templates/
"""

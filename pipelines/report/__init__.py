"""The report: one HTML file that needs nothing else, light and dark, for a laptop and a phone.

inputs      every result there is; None for one that is not there
style       colours, and how charts look
svg         a Matplotlib figure → inline SVG whose colours follow the page
labels      where names go beside points so that none lies on another
pictures    pixels → data URIs
words       numbers as text
section     what a section is; one that lacks its input says so
sections/   one module each: figures and context
page        sections → HTML, through templates/
"""

"""Structure of the image formats that are read: one module for each, which walks a file as its decoder does.

header   what a file says of itself, and what all formats share
jpeg     markers, scans, and where the data end
png      chunks, and how much the pixel data unpack to
webp     chunks
bmp      headers of Windows and OS/2

A reading that differs from the decoder's is a way around the limits, so each module names the rule of the
decoder (libjpeg-turbo, libpng, libwebp, OpenCV's BMP reader) that it follows.
"""

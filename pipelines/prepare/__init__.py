"""The parts of `pipelines.prepare`.

finding      the originals: class folders, split folders or a table
folders      what is passed over and refused in folders of pictures
split_names  names that data sets give their splits
splitting    which split and which file name each original gets, before any is read
pictures     one original → one prepared file and one row, on all cores
hashing      what makes two pictures the same, or nearly
duplicates   which pictures go because they are there twice
minimum      which groups move so that no class is short in a split
presence     that every class is in every split, and what to do where one is not
summary      reports/prepare.json
"""

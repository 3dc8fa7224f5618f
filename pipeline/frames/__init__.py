"""Reading and writing files: RAW, FLT and ASN files, products, tables. The only package that opens FITS files."""

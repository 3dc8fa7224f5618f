"""Reading and writing files: RAW, FLT and ASN files, products, tables. The only room that opens FITS."""

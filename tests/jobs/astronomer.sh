# Which darks fit an exposure, and why?
sbcdark ingest archive/darks_13961 archive/associations_13655 archive/science_13655_standin
sbcdark match archive/science_13655_standin/jcmc11e6q_flt.fits.gz --top 3
sbcdark why jcmc11e6q jcrx01isq
# The whole job for an association, with regions that DS9 saved.
sbcdark run archive/associations_13655/jcmc11010_asn.fits -o products --regions galaxy.reg
# A position from a paper, and a curve of growth.
sbcdark photometry jcmc11020 -o products --aperture 'circle(11:02:14.1, +38:02:35, 1.2")' --growth 0.4,0.8,1.6
# The same once more: nothing is drizzled again.
sbcdark photometry JCMC11020 -o products --aperture 'circle(11:02:14.1, +38:02:35, 1.2")' --growth 0.4,0.8,1.6
# All of the program, with the sky of an annulus, into one table.
sbcdark photometry --program 13655 -o all --aperture circle@165.5588,38.0431,1.2 --sky annulus@3,5 --workers 1
# What is mistyped is said in one message.
sbcdark match jcmc11e7q
sbcdark run --target NGC1275 -o products
sbcdark photometry jcmc11020 -o products --aperture panda:700,680,40
sbcdark photometry jcmc11020 -o products --aperture annulus:700,680,90,60
sbcdark photometry jcmc11020 -o products --aperture circle:700,680,40 --growth 5;10
sbcdark photometry jcmc11020 -o products --regions points.reg
sbcdark photometry jcmc11020 -o products --aperture 'ellipse(735,710,40,20)'
sbcdark photometry jcmc11020 -o products --aperture 'fk5; circle(165.5585,38.0431,0.02)'
sbcdark photometry jcmc11020 -o products --aperture 'circle 736 711 40' --growth 5 10 20
sbcdark match 13655
sbcdark run jcmc11010 --aperture circle:700,680,40
# Other darks make other products: the message says what differs.
sbcdark run jcmc11010 -o products --combine mean

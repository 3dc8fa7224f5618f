# An instrument scientist fills a group's catalog every few weeks and keeps it in order.
sbcdark ingest archive/first
sbcdark ingest archive/darks_13961 archive/associations_13655 archive/science_13655_standin
sbcdark ingest archive/darks_13961
sbcdark status
sbcdark darks
sbcdark exposures --since 2015-04 --sort "T mean"
sbcdark darks --where "contrast > 40" --sort -base
sbcdark darks --quality suspect,untested
sbcdark show jcrx01ixq
sbcdark match jcmc11e6q --save
sbcdark show --selection 1
sbcdark retire jcrx01ixq jcrx01iyq --reason "edge of the South Atlantic Anomaly"
sbcdark darks --quality retired
sbcdark changes
sbcdark changes jcmc11020
sbcdark status
sbcdark match jcmc11e6q --max-sigma 3
sbcdark restore jcrx01ixq jcrx01iyq --reason "no anomaly at that time"
sbcdark show jcrx01ixq
sbcdark darks --until 57085 -o darks.csv
sbcdark darks --since yesterday
sbcdark verify
sbcdark verify --program 13655
sbcdark darks jcrx01010 --where "contrast > 0.05 and T mean < 22"
# What is mistyped is answered with what to type.
sbcdark history
sbcdark retire jcrx01ixq
sbcdark darks --sort temprature
sbcdark darks --where "contrast > high"
sbcdark why jcrx01ixq jcmc11e6q

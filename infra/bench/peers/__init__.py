"""`crossdock bench peers`: crossdock beside Kafka Streams, Quix Streams, Faust and a bare loop, on one broker."""

import com.fasterxml.jackson.databind.JsonNode;
import java.io.File;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.processor.StateRestoreListener;

/** Runs one workload with exactly_once_v2 until it is told to stop. Its one argument names a JSON file: see `Job`. */
public final class Peer {
    private Peer() {}

    public static void main(String[] arguments) throws Exception {
        var job = Json.MAPPER.readTree(new File(arguments[0]));
        var input = job.get("input").asText();
        var output = job.get("output").asText();
        var topology = job.get("workload").asText().equals("a")
                ? Sums.topology(input, output)
                : Promise.topology(input, output, job.get("is_keyed").asBoolean(), job.get("partitions").asInt());
        var streams = new KafkaStreams(topology, properties(job));
        streams.setGlobalStateRestoreListener(new Restored());
        var stopped = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            stopped.countDown();
            return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(20));
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    private static Properties properties(JsonNode job) {
        var properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, job.get("group").asText());
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, job.get("brokers").asText());
        properties.put(StreamsConfig.STATE_DIR_CONFIG, job.get("directory").asText());
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, job.get("threads").asInt());
        properties.put("auto.offset.reset", "earliest");
        properties.put("session.timeout.ms", "10000");
        if (!job.get("commit_ms").isNull()) {
            properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, job.get("commit_ms").asLong());
        }
        return properties;
    }

    /** Says on standard output when each partition's rows began to come back and when they were there. */
    private static final class Restored implements StateRestoreListener {
        @Override
        public void onRestoreStart(TopicPartition partition, String store, long from, long to) {
            System.out.printf("restore-begun %d%n", System.currentTimeMillis());
        }

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long end, long rows) {}

        @Override
        public void onRestoreEnd(TopicPartition partition, String store, long rows) {
            System.out.printf("restore-ended %d %d%n", System.currentTimeMillis(), rows);
        }
    }
}

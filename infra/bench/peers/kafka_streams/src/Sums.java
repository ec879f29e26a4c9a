import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Workload (a): a count and a sum by key, one output an event. */
final class Sums {
    public static final class Event {
        public String key;
        public long qty;
        public long t;
    }

    public static final class Sum {
        public long count;
        public long sum;
    }

    public record Total(String key, long count, long sum, long t) {}

    private Sums() {}

    static Topology topology(String input, String output) {
        var keys = Serdes.String();
        var store = Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore("sums"), keys, Json.serde(Sum.class))
                .withCachingEnabled();
        return new Topology()
                .addSource("in", keys.deserializer(), Json.serde(Event.class).deserializer(), input)
                .addProcessor("sum", Update::new, "in")
                .addStateStore(store, "sum")
                .addSink("out", output, keys.serializer(), Json.serde(Total.class).serializer(), "sum");
    }

    private static final class Update implements Processor<String, Event, String, Total> {
        private ProcessorContext<String, Total> context;
        private KeyValueStore<String, Sum> sums;

        @Override
        public void init(ProcessorContext<String, Total> context) {
            this.context = context;
            sums = context.getStateStore("sums");
        }

        @Override
        public void process(Record<String, Event> record) {
            var event = record.value();
            var sum = sums.get(record.key());
            if (sum == null) {
                sum = new Sum();
            }
            sum.count += 1;
            sum.sum += event.qty;
            sums.put(record.key(), sum);
            context.forward(record.withValue(new Total(record.key(), sum.count, sum.sum, event.t)));
        }
    }
}

import com.fasterxml.jackson.annotation.JsonProperty;
import java.math.BigDecimal;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Workload (b): warehouse messages to positions, day nets and what can be promised over 30 days. */
final class Promise {
    private static final int HORIZON_DAYS = 30;

    public static final class Reference {
        public String po;
        public int line;
    }

    public static final class ShippedLine {
        public int line;
        public String item;
        public String qty;
    }

    /** A message as it comes. */
    public static final class Message {
        public String type;
        public String item;
        public String site;
        public String qty;
        public String order;
        public String po;
        public int line;
        public Reference reference;
        public List<ShippedLine> lines;

        @JsonProperty("requested_date")
        public String requestedDate;

        @JsonProperty("expected_date")
        public String expectedDate;

        @JsonProperty("occurred_at")
        public String occurredAt;

        @JsonProperty("sent_at")
        public long sentAt;
    }

    /** What it means to one item: `day` and `today` count from 1970-01-01, quantities are thousandths. */
    public static final class Fact {
        public String type;
        public String item;
        public String site;
        public long qty;
        public String document;
        public long day;
        public long today;
        public long t;
    }

    public static final class Site {
        public long usable;
        public long staged;
        public TreeMap<Long, long[]> days = new TreeMap<>();
    }

    public static final class Position {
        public TreeMap<String, Site> sites = new TreeMap<>();
    }

    public static final class OpenLine {
        public long day;
        public long open;
    }

    public record SiteAtp(String site, long atp, long usable, long staged, Map<String, long[]> days) {}

    public record Atp(String item, long atp, List<SiteAtp> sites, long t) {}

    private Promise() {}

    static Topology topology(String input, String output, boolean isKeyed, int partitions) {
        var keys = Serdes.String();
        var builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore("positions"), keys, Json.serde(Position.class))
                .withCachingEnabled());
        builder.addStateStore(Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore("lines"), keys, Json.serde(OpenLine.class))
                .withCachingEnabled());
        KStream<String, Message> messages = builder.stream(input, Consumed.with(keys, Json.serde(Message.class)));
        KStream<String, Fact> facts;
        if (isKeyed) {
            facts = messages.flatMapValues(Promise::translate);
        } else {
            facts = messages
                    .flatMap((key, message) -> translate(message).stream()
                            .map(fact -> KeyValue.pair(fact.item, fact))
                            .toList())
                    .repartition(Repartitioned.with(keys, Json.serde(Fact.class))
                            .withName("items")
                            .withNumberOfPartitions(partitions));
        }
        facts.process(Update::new, "positions", "lines").to(output, Produced.with(keys, Json.serde(Atp.class)));
        return builder.build();
    }

    private static List<Fact> translate(Message m) {
        var today = OffsetDateTime.parse(m.occurredAt).toLocalDate().toEpochDay();
        if (!m.type.equals("shipment.confirmed")) {
            return List.of(fact(m, m.item, m.qty, m.line, today));
        }
        var facts = new ArrayList<Fact>(m.lines.size());
        for (var line : m.lines) {
            facts.add(fact(m, line.item, line.qty, line.line, today));
        }
        return facts;
    }

    private static Fact fact(Message m, String item, String qty, int line, long today) {
        var fact = new Fact();
        fact.type = m.type;
        fact.item = item;
        fact.site = m.site;
        fact.qty = new BigDecimal(qty).movePointRight(3).longValueExact();
        if (m.order != null) {
            fact.document = m.order + "|" + line;
        } else if (m.po != null) {
            fact.document = m.po + "|" + line;
        } else if (m.reference != null) {
            fact.document = m.reference.po + "|" + m.reference.line;
        }
        var date = m.requestedDate != null ? m.requestedDate : m.expectedDate;
        fact.day = date == null ? 0 : LocalDate.parse(date).toEpochDay();
        fact.today = today;
        fact.t = m.sentAt;
        return fact;
    }

    private static final class Update implements Processor<String, Fact, String, Atp> {
        private ProcessorContext<String, Atp> context;
        private KeyValueStore<String, Position> positions;
        private KeyValueStore<String, OpenLine> lines;

        @Override
        public void init(ProcessorContext<String, Atp> context) {
            this.context = context;
            positions = context.getStateStore("positions");
            lines = context.getStateStore("lines");
        }

        @Override
        public void process(Record<String, Fact> record) {
            var fact = record.value();
            var position = positions.get(fact.item);
            if (position == null) {
                position = new Position();
            }
            apply(position.sites.computeIfAbsent(fact.site, name -> new Site()), fact);
            positions.put(fact.item, position);
            context.forward(new Record<>(fact.item, atp(fact, position), record.timestamp()));
        }

        private void apply(Site site, Fact fact) {
            switch (fact.type) {
                case "stock.received" -> {
                    site.usable += fact.qty;
                    if (fact.document != null) {
                        take(site, fact, 0);
                    }
                }
                case "stock.adjusted" -> site.usable += fact.qty;
                case "pick.completed" -> {
                    site.usable -= fact.qty;
                    site.staged += fact.qty;
                    take(site, fact, 1);
                }
                case "shipment.confirmed" -> site.staged -= fact.qty;
                case "order.line" -> open(site, fact, 1);
                case "supply.line" -> open(site, fact, 0);
                default -> throw new IllegalArgumentException(fact.type);
            }
        }

        private void open(Site site, Fact fact, int what) {
            var line = new OpenLine();
            line.day = fact.day;
            line.open = fact.qty;
            lines.put(fact.document, line);
            site.days.computeIfAbsent(fact.day, day -> new long[2])[what] += fact.qty;
        }

        private void take(Site site, Fact fact, int what) {
            var line = lines.get(fact.document);
            var day = site.days.get(line.day);
            day[what] -= fact.qty;
            if (day[0] == 0 && day[1] == 0) {
                site.days.remove(line.day);
            }
            line.open -= fact.qty;
            if (line.open == 0) {
                lines.delete(fact.document);
            } else {
                lines.put(fact.document, line);
            }
        }

        private static Atp atp(Fact fact, Position position) {
            var sites = new ArrayList<SiteAtp>(position.sites.size());
            var total = 0L;
            for (var entry : position.sites.entrySet()) {
                var site = entry.getValue();
                var value = lookahead(site, fact.today);
                var days = new LinkedHashMap<String, long[]>();
                site.days.forEach((day, net) -> days.put(LocalDate.ofEpochDay(day).toString(), net));
                sites.add(new SiteAtp(entry.getKey(), value, site.usable, site.staged, days));
                total += value;
            }
            return new Atp(fact.item, total, sites, fact.t);
        }

        /** The least stock expected on any of the next days. Supply that is past due is not expected. */
        private static long lookahead(Site site, long today) {
            var running = site.usable;
            for (var net : site.days.headMap(today).values()) {
                running -= net[1];
            }
            var low = Long.MAX_VALUE;
            var day = today;
            for (var entry : site.days.subMap(today, today + HORIZON_DAYS).entrySet()) {
                if (entry.getKey() > day) {
                    low = Math.min(low, running);
                }
                day = entry.getKey();
                running += entry.getValue()[0] - entry.getValue()[1];
            }
            return Math.min(low, running);
        }
    }
}

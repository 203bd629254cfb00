package main

import (
	"bytes"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/rules"
	"github.com/ebbgate/ebbgate/rules/shape"
	"github.com/ebbgate/ebbgate/upstream/billing"
	"github.com/ebbgate/ebbgate/upstream/billing/sizes"
)

func TestWhatIf(t *testing.T) {
	config, _ := billed(t)
	other := filepath.Join(t.TempDir(), "new.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "upstream: aws, priority", `topic: "$aws/rules/store/${topic}", upstream: aws, origin: none, priority`, 1)
	changed = strings.Replace(changed, "eu-central-1", "us-east-1", 1)
	if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(t.TempDir(), "packed.yaml")
	text = []byte(strings.Replace(string(text), "upstream: aws, priority", "upstream: aws, batch: {format: json, units: 2}, compress: gzip, priority", 1))
	if err := os.WriteFile(packed, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--routes", packed}, []string{"0.0 %", "route telemetry: what compression saves"}},
		{nil, []string{"as it is", "what if", "metered messages", "USD a month", "0.0 %"}},
		{[]string{"--routes", other}, []string{"rules triggered", "720", "-"}},
		{[]string{"--basic-ingest", "telemetry"}, []string{"rules triggered", "actions", "not all prices are sourced"}},
		{[]string{"--batch", "*=5120B", "--batch-format", "ndjson"}, []string{"0.0 %"}},
		{[]string{"--unit", "5000B", "--protocol", "mqtt3", "--upstream", "aws"}, []string{"0.0 %"}},
	} {
		out := runBill(t, append([]string{"what-if", "--config", config}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: no %q in\n%s", c.args, want, out)
			}
		}
	}
	for _, args := range [][]string{
		{"--unit", "5000"}, {"--protocol", "mqtt4"}, {"--batch", "telemetry"}, {"--batch", "telemetry=1B"}, {"--batch", "gone=5120B"},
		{"--batch", "telemetry=5120B", "--batch-format", "xml"}, {"--batch", "telemetry=5120B", "--batch-age", "-1s"},
		{"--basic-ingest", "gone"}, {"--upstream", "gone"}, {"--at", "never"}, {"--routes", other + "-gone"},
		{"--period", "hour"},
	} {
		var stdout, stderr bytes.Buffer
		if code := execute(append([]string{"bill", "what-if", "--config", config}, args...), &stdout, &stderr); code == exitOK {
			t.Errorf("%v: taken", args)
		}
	}
}

// Another file's sample and windows are worked out, its deadband and its where are
// said to be counted as if they took everything, and what a route does already is not
// done twice. HTTPS has no connection.
func TestWhatIfStepsOfRoutes(t *testing.T) {
	config, _ := billed(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	file := func(steps string) string {
		name := filepath.Join(t.TempDir(), "routes.yaml")
		if err := os.WriteFile(name, []byte(strings.Replace(string(text), "upstream: aws, priority", "upstream: aws, "+steps+", priority", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	plain, sampled := config, file("sample: {one_in: 10}")
	for _, c := range []struct {
		now, then  string
		args       []string
		want, none []string
	}{
		{plain, sampled, nil, []string{"0.0 %"}, []string{"topic"}}, // of one message there is one in ten
		{plain, file("sample: {every: 1h}"), nil, []string{"below dt/a to be of one topic"}, nil},
		{plain, file("window: {every: 1m, fields: [temp], functions: [avg]}"), nil, []string{"a window's message is taken to have", "below dt/a to be of one topic"}, nil},
		{plain, file("deadband: {field: temp, max_silence: 1h}"), nil, []string{"counted as if nothing were left out", "were the values always the same"}, nil},
		{plain, file("where: 'payload.temp > 20.0'"), nil, []string{"counted as if it were those that it took"}, nil},
		{sampled, sampled, nil, []string{"0.0 %"}, []string{"sample"}},
		{file("sample: {every: 1h}"), plain, nil, []string{"what its sample has left out is not recorded"}, nil},
		{file("deadband: {field: temp}"), plain, nil, []string{"what its deadband has left out is not recorded"}, []string{"were the values"}},
		{file("window: {every: 1m, fields: [temp]}"), plain, nil, []string{"that its windows have summed up are not recorded"}, nil},
		{file("batch: {format: json}"), plain, nil, []string{"what is in its batches is not recorded", "0.0 %"}, nil},
		{file("batch: {format: json}, compress: gzip"), file("batch: {format: json}, compress: gzip"), nil, []string{"0.0 %"}, []string{"route telemetry"}},
		{plain, "", []string{"--protocol", "https"}, []string{"minutes                                  720                    0"}, []string{"connections are"}},
	} {
		args := append([]string{"what-if", "--config", c.now}, c.args...)
		if c.then != "" {
			args = append(args, "--routes", c.then)
		}
		if filepath.Dir(c.now) != filepath.Dir(plain) { // the spool lies beside the plain one
			args = append(args, "--set", "spool.dir="+filepath.Join(filepath.Dir(plain), "data"))
		}
		out := strings.Join(strings.Fields(runBill(t, args...)), " ")
		for _, want := range c.want {
			if !strings.Contains(out, strings.Join(strings.Fields(want), " ")) {
				t.Errorf("%v: no %q in\n%s", args, want, out)
			}
		}
		for _, none := range c.none {
			if strings.Contains(out, none) {
				t.Errorf("%v: %q in\n%s", args, none, out)
			}
		}
	}
}

// A region without prices is no answer: it is an error that says what is known.
func TestWhatIfOfARegionWithoutPrices(t *testing.T) {
	config, _ := billed(t)
	for region, want := range map[string]string{
		"mars-1":    "mars-1 is no region of AWS, by its name, nor of the price list of 2026-11-21, which has ap-northeast-1, ",
		"sa-east-1": "sa-east-1 may well be a region of AWS, and the price list of 2026-11-21 does not have it",
	} {
		var stdout, stderr bytes.Buffer
		code := execute([]string{"bill", "what-if", "--config", config, "--region", region}, &stdout, &stderr)
		if code != exitInvalid || !strings.Contains(stderr.String(), want) || !strings.Contains(stderr.String(), "us-west-2") {
			t.Errorf("%s: exit %d: %s", region, code, stderr.String())
		}
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "routes.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), "eu-central-1", region, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout.Reset()
		stderr.Reset()
		code = execute([]string{"bill", "what-if", "--config", config, "--routes", file}, &stdout, &stderr)
		if code != exitInvalid || !strings.Contains(stderr.String(), "upstream aws: "+want) || !strings.Contains(stderr.String(), "us-west-2") || stdout.Len() > 0 {
			t.Errorf("--routes with %s: exit %d: %s%s", region, code, stdout.String(), stderr.String())
		}
		if out := runBill(t, "what-if", "--config", config, "--routes", file, "--region", "us-east-1"); !strings.Contains(out, "USD a month") {
			t.Errorf("a region that is named beside does not count: %s", out)
		}
	}
}

// Where the configuration names no region, that of the flag prices both columns.
func TestWhatIfNamesTheOnlyRegion(t *testing.T) {
	config, _ := billed(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(string(text), "x-ats.iot.eu-central-1.amazonaws.com", "broker.example", 1)
	if err := os.WriteFile(config, []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := runBill(t, "what-if", "--config", config); without == string(text) || !strings.Contains(out, "set billing.region") {
		t.Errorf("without a region:\n%s", out)
	}
	out := runBill(t, "what-if", "--config", config, "--region", "us-east-1")
	if !strings.Contains(out, "USD a month") || !strings.Contains(out, "priced as in us-east-1 too") || strings.Contains(out, "billing.region") {
		t.Errorf("with --region:\n%s", out)
	}
}

func TestAdvise(t *testing.T) {
	config, _ := billed(t)
	if out := runBill(t, "advise", "--config", config); !strings.Contains(out, "don't bother: nothing saves $10.00 a year") {
		t.Errorf("%s", out)
	}
	out := runBill(t, "advise", "--config", config, "--least", "0")
	for _, want := range []string{"1. send by Basic Ingest: route telemetry: saves $", "risk: ", "who reads it: ", "all of them together"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for now, want := range map[string]string{
		"upstream: aws, basic_ingest: store, priority":  "not advised: send by Basic Ingest: route telemetry ($",
		"upstream: aws, basic_ingest: store2, priority": "had all of it been sent as the configuration does it by now: about $",
		"upstream: aws, ttl: 1h, priority":              "1. send by Basic Ingest: route telemetry",
	} {
		if err := os.WriteFile(config, bytes.Replace(text, []byte("upstream: aws, priority"), []byte(now), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		out := strings.Join(strings.Fields(runBill(t, "advise", "--config", config, "--least", "0")), " ")
		has := strings.Contains(now, "basic_ingest")
		if !strings.Contains(out, want) || has == strings.Contains(out, "1. send by Basic") || has != strings.Contains(out, "had all of it been sent") {
			t.Errorf("%s: no %q in\n%s", now, want, out)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"bill", "advise", "--config", config, "--least", "much"}, &stdout, &stderr); code != exitInvalid {
		t.Errorf("--least much: exit %d", code)
	}
}

// What may be worth it is too early to tell in the first hours, and no bother later.
func TestAdviseInTheFirstHours(t *testing.T) {
	var h sizes.Histogram
	for range 600 {
		h.Add(300, 9, 0, false)
	}
	f := &billing.Fleet{
		Upstream: "aws", Region: "us-east-1", Prices: billing.BuiltIn(), Options: billing.DefaultOptions(), Span: time.Hour, Rules: [][]billing.DeclaredRule{nil},
		Traffic: []billing.Traffic{{Route: "telemetry", Topic: "dt/a", Sizes: h, Days: 1, Hours: 1}},
	}
	for _, c := range []struct {
		least       time.Duration
		says, never string
	}{
		{10 * time.Minute, "too early to tell whether anything saves $10.00 a year", "don't bother: nothing"},
		{time.Hour, "don't bother: nothing saves $10.00 a year", "too early"},
	} {
		var out bytes.Buffer
		f.Least = c.least
		printAdvice(&billTable{out: &out}, f, big.NewRat(10, 1))
		if s := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(s, c.says) || strings.Contains(s, c.never) {
			t.Errorf("at least %v: %s", c.least, s)
		}
	}
}

func TestReconcile(t *testing.T) {
	config, _ := billed(t)
	month := time.Now().UTC().Format("2006-01")
	first, _ := time.Parse("2006-01", month)
	file := filepath.Join(t.TempDir(), "report.csv")
	text := "line_item_line_item_type,line_item_usage_start_date,line_item_usage_end_date,line_item_product_code,line_item_usage_type,line_item_usage_amount,line_item_unblended_cost\n" +
		"Usage," + first.Format(time.RFC3339) + "," + first.AddDate(0, 1, 0).Format(time.RFC3339) + ",AWSIoT,EUC1-Messages,9,0.0000108\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := runBill(t, "reconcile", "--config", config, file)
	for _, want := range []string{"eu-central-1", "Messages", "7 at least: what this gateway did not send", "ConnectionMinutes"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, args := range [][]string{{file + "-gone"}, {config}, {}} {
		var stdout, stderr bytes.Buffer
		if code := execute(append([]string{"bill", "reconcile", "--config", config}, args...), &stdout, &stderr); code == exitOK {
			t.Errorf("%v: taken", args)
		}
	}
}

// A price list that is not valid is a configuration that is not: it is told before a spool
// is looked for.
func TestBillOfAPriceListThatIsNone(t *testing.T) {
	config, _ := billed(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(config), "prices.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(config), "other.yaml")
	changed := bytes.Replace(text, []byte("username: pump"), []byte("username: pump, billing: {price_list: prices.json}"), 1)
	if err := os.WriteFile(other, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--config", other}, {"advise", "--config", other}, {"what-if", "--config", config, "--routes", other}} {
		var stdout, stderr bytes.Buffer
		if code := execute(append([]string{"bill"}, args...), &stdout, &stderr); code != exitInvalid || !strings.Contains(stderr.String(), "upstream aws: ") || !strings.Contains(stderr.String(), "price list: schema") {
			t.Errorf("%v: exit %d: %s", args, code, stderr.String())
		}
	}
}

// A range begins with its lower end, also that of a difference, and one that cannot be
// seen is not shown.
func TestRangesAreInOrder(t *testing.T) {
	for _, c := range []struct{ low, high, want string }{
		{"0.83", "0.91", ", between $0.83 and $0.91 as certain as its prices are"},
		{"0.91", "0.83", ", between $0.83 and $0.91 as certain as its prices are"},
		{"0.101", "0.102", ""},
		{"2", "2", ""},
	} {
		low, _ := new(big.Rat).SetString(c.low)
		high, _ := new(big.Rat).SetString(c.high)
		if got := between(billing.Amount{USD: low, Low: low, High: high}); got != c.want {
			t.Errorf("%s to %s: %q", c.low, c.high, got)
		}
	}
}

// An upstream that the configuration does not have any more is priced where it was, and
// marked; of one that earlier versions have metered nobody knows where.
func TestTheBillOfAnUpstreamThatHasGone(t *testing.T) {
	config, _ := billed(t)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	renamed := strings.NewReplacer("{aws: {", "{cloud: {", "upstream: aws", "upstream: cloud").Replace(string(text))
	if err := os.WriteFile(config, []byte(renamed), 0o600); err != nil {
		t.Fatal(err)
	}
	out := strings.Join(strings.Fields(runBill(t, "--config", config, "--month")), " ")
	if want := "aws, which the configuration does not have any more: prices of eu-central-1"; !strings.Contains(out, want) || strings.Contains(out, "cloud, which") {
		t.Errorf("no %q in\n%s", want, out)
	}
	total := billing.Total{Upstream: "aws", Gone: true, Counts: billing.Counts{Units: 1}}
	if got, want := priced(total), "aws: not priced, since the configuration has no such upstream any more"; !strings.Contains(got, want) {
		t.Errorf("no %q in %s", want, got)
	}
}

// The other reading of 5 KB may make fewer messages, and says so.
func TestTheOtherReadingHasADirection(t *testing.T) {
	for other, want := range map[int64]string{191: "(191 metered messages more)", -1910: "(1,910 metered messages fewer)"} {
		var out bytes.Buffer
		total := billing.Total{USDRange: "1 to 2"}
		total.Other = other
		(&billTable{out: &out}).known(total)
		if s := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(s, want) {
			t.Errorf("%d: %s", other, s)
		}
	}
}

// What the routes do is told as they are written, at the unit of the upstream.
func TestRoutesOf(t *testing.T) {
	config := filepath.Join(t.TempDir(), "ebbgate.yaml")
	for written, want := range map[string]billing.Does{
		"retain: keep":                                {},
		"keep_last: 3, ttl: 1m":                       {ClearRetain: true, KeepLast: 3, TTL: time.Minute},
		"split: 2KiB":                                 {ClearRetain: true, Most: 2048},
		"origin: bare, basic_ingest: store":           {BasicIngest: true, ClearRetain: true, NoOrigin: true},
		"batch: {format: json, age: 1m}":              {ClearRetain: true, Made: "json/0/0/0/1m0s/none/user_properties", Type: "application/json", Batch: billing.Batch{Limit: 5000, Age: time.Minute, Fixed: 1, Record: 1, Type: 16, Text: true}},
		"topic: all, batch: {format: json, count: 2}": {ClearRetain: true, Made: "json/0/0/2/10s/none/user_properties", Type: "application/json", Batch: billing.Batch{Limit: 5000, Count: 2, Age: 10 * time.Second, Fixed: 1, Record: 1, Type: 16, Text: true, Shared: true}},
		"origin: envelope, batch: {format: length_prefixed, size: 400B, age: 1h}": {ClearRetain: true, Envelope: true, Made: "length_prefixed/400/0/0/1h0m0s/none/envelope", Type: "application/x-length-prefixed", Batch: billing.Batch{Limit: 400, Age: time.Hour, Record: 2, Type: 29, Own: true}},
	} {
		text := "spool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\n" +
			"routes: {up: [{name: telemetry, from: \"dt/#\", upstream: aws, " + written + "}]}\n" +
			"upstreams: {aws: {endpoint: \"mqtts://x-ats.iot.eu-central-1.amazonaws.com:443\", username: pump}}\n"
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(config, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		all := routesOf(cfg, 5000)
		if got := all["telemetry"]; got != want || !all[rules.PassThroughRoute].Fixed {
			t.Errorf("%s: %+v, want %+v", written, got, want)
		}
	}
}

// A batch goes neither in parts nor as a file.
func TestMostOfABatch(t *testing.T) {
	for _, c := range [][3]bridge.Size{{0, 0, 0}, {2048, 0, 2048}, {0, 4096, 4096}, {2048, 4096, 2048}} {
		if got := mostOfBatch(shape.Options{Split: c[0], Divert: c[1]}); got != int(c[2]) {
			t.Errorf("split %v, divert %v: %d", c[0], c[1], got)
		}
	}
}

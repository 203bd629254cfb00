package main

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// TestTransferView: elsewhere than at a terminal there is a line for each change of
// state; at one, bars that are drawn over, and a line for what has ended.
func TestTransferView(t *testing.T) {
	size := int64(2000)
	events := []*transferEvent{
		{"transfer", upload.Transfer{ClientID: "c\x1b[2J", FileID: "f", Name: "a.bin", State: upload.StateOpen, Size: &size, Received: 500, Rate: 100, Left: 15}},
		nil,
		{"transfer", upload.Transfer{ClientID: "c\x1b[2J", FileID: "f", Name: "a.bin", State: upload.StateOpen, Size: &size, Received: 1000}},
		{"transfer", upload.Transfer{ClientID: "d", FileID: "g", State: upload.StateOpen}},
		nil,
		{"gone", upload.Transfer{ClientID: "c\x1b[2J", FileID: "f", Name: "a.bin", State: upload.StateExported, Size: &size, Received: 2000, Place: "p"}},
		{"gone", upload.Transfer{ClientID: "d", FileID: "g"}},
		nil,
	}
	draw := func(size func() (int, int)) string {
		var out strings.Builder
		v := &transferView{w: &out, size: size, running: map[string]*upload.Transfer{}, states: map[string]upload.State{}}
		for _, e := range events {
			if err := v.take(e); err != nil {
				t.Fatal(err)
			}
		}
		return out.String()
	}
	const want = "open  a.bin from c?[2J (f), 500 B of 2.0 KiB, 25 %\nopen  d/g (g), 0 B\nexported  a.bin from c?[2J (f), 2.0 KiB, p\ngiven up  d/g (g), 0 B\n"
	if got := draw(nil); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got := draw(func() (int, int) { return 70, 10 })
	for _, part := range []string{
		"\r\x1b[J[#####---------------] open       a.bin from c?[2J: 500 B of 2.0 KiB,\r\n",
		"\x1b[1A\r\x1b[J[##########----------] open       a.bin from c?[2J: 1000 B of 2.0 KiB\r\n[????????????????????] open       d/g: 0 B\r\n",
		"\x1b[2A\r\x1b[Jexported  a.bin from c?[2J (f), 2.0 KiB, p\r\ngiven up  d/g (g), 0 B\r\nno transfer is running\r\n",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in %q", part, got)
		}
	}
	if got := draw(func() (int, int) { return 70, 3 }); !strings.Contains(got, "and 1 more\r\n") {
		t.Errorf("%q", got)
	}
}

// TestEstimate: AWS's units and S3's requests by hand, at the bounds of a segment, a
// unit and a part.
func TestEstimate(t *testing.T) {
	o := &filesPut{segment: 128 << 10}
	for _, c := range []struct {
		size                   int64
		messages, units, parts int64
	}{
		{0, 2, 2, 1}, {1, 3, 3, 1}, {5000, 3, 3, 1}, {5120, 3, 4, 1}, {128 << 10, 3, 28, 1}, {128<<10 + 1, 4, 29, 1},
		{5 << 20, 42, 40*26 + 2, 1}, {5<<20 + 1, 43, 40*26 + 1 + 2, 4}, {10 << 20, 82, 80*26 + 2, 4}, {10<<20 + 1, 83, 80*26 + 1 + 2, 5},
	} {
		o.region, o.putCost = "us-east-1", "0.005"
		e, err := o.estimate(c.size)
		if err != nil {
			t.Fatal(err)
		}
		if m, s := e.Ways[0], e.Ways[1]; m.Requests != c.messages || m.Units != c.units || s.Requests != c.parts || m.Bytes < c.size || s.Bytes < c.size {
			t.Errorf("%d bytes: %+v %+v", c.size, m, s)
		}
	}
	for _, price := range []string{"-1", "1/3", "x", "1e3"} {
		o.linkPrice = price
		if _, err := o.estimate(1); err == nil {
			t.Errorf("%s is taken for a price", price)
		}
	}
}

// TestTransferBill: after a transfer its money is told, of the way it went and of the
// other ways, by hand: 20 MiB, in parts of 5 MiB and of 8 MiB.
func TestTransferBill(t *testing.T) {
	cfg := configs.Default()
	size := int64(20 << 20)
	d := &upload.Detail{Transfer: upload.Transfer{Size: &size, Cost: upload.Cost{Messages: 162, Units: 4_002, Wire: size + 9000, Exported: size + 100}}}
	bill := func() *transferBill { return pricesOf(cfg).bill(d) }
	if b := bill(); b.Export.USD != "0.000000" || b.Region != "us-east-1" || len(b.Instead) != 2 ||
		b.Instead[0].USD != "0.004002" || b.Instead[1].Requests != 6 || b.Instead[1].USD != "0.000030" {
		t.Errorf("to a folder: %+v", b)
	}
	e := &cfg.FileTransfer.Export
	e.To, e.S3.Region, e.S3.PartSize = configs.ExportS3, "eu-central-1", 8<<20
	if b := bill(); b.Export.Way != wayS3 || b.Export.Requests != 5 || b.Export.USD != "0.000025" || b.Export.Bytes != size+100 ||
		len(b.Instead) != 1 || b.Instead[0].Way != wayMQTT || b.Instead[0].Units != 4_002 {
		t.Errorf("to S3: %+v", b)
	}
	e.S3.Endpoint = "https://minio.example"
	if b := bill(); b.Export.USD != "" || b.Export.Requests != 5 || !strings.Contains(b.Export.words(), "the store is not Amazon's") {
		t.Errorf("to another store: %+v", b)
	}
	e.To, e.Upstream.Upstream = configs.ExportUpstream, "emqx"
	if b := bill(); b.Export.USD != "" || !strings.Contains(b.Export.words(), "emqx") || len(b.Instead) != 2 {
		t.Errorf("upstream: %+v", b)
	}
	if d.Size = nil; bill() != nil {
		t.Error("of unknown size there is a bill")
	}
}

// TestShort: an id that a device chose does not widen the table for all.
func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		"pump-7": "pump-7", strings.Repeat("é", 40): strings.Repeat("é", 40),
		"h" + strings.Repeat("a", 240) + "0123456789.t": "h" + strings.Repeat("a", 26) + "…0123456789.t",
	} {
		if got := short(in); got != want {
			t.Errorf("%q", got)
		}
	}
}

// TestSayOnce: a line that comes again and again is written once a minute, another one
// at once.
func TestSayOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		l := &transferLine{w: &out}
		for range 41 { // 2 minutes
			l.say("refused")
			time.Sleep(3 * time.Second)
		}
		l.say("reset")
		l.say("refused")
		if got, want := out.String(), "refused\nrefused (19 times more since)\nrefused (19 times more since)\nreset\nrefused\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func decodeInto(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

package configs

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/spool"
)

// What a listener takes fits a record of the spool, with 256 KiB to spare for the
// topic, which may have 64 KiB, and the properties: else it is accepted by the
// configuration and refused when it comes.
func TestPayloadsFitARecord(t *testing.T) {
	const most = spool.MaxRecord - 256<<10
	for size, taken := range map[int]bool{most: true, most + 1: false, 16 << 20: false} {
		s := script{yaml: fmt.Sprintf("gateway: {id: g}\npolicy: {things: \"\", policies: \"\"}\nlisteners: [{name: l, address: \"127.0.0.1:0\", profile: mqtt, quotas: {payload_size: %dB, packet_size: 1920KiB}}]\n", size)}
		got := strings.Join(s.problems(t, "payload.yaml"), "\n")
		if want := bridge.Size(most).String() + ": the spool's records are " + bridge.Size(spool.MaxRecord).String(); taken != (got == "") || !taken && !strings.Contains(got, want) {
			t.Errorf("payload_size of %d bytes: %s", size, got)
		}
	}
}

// The largest packet that a listener may be set to take is a record of the spool as
// well, with one more of the longest topics for where it goes, whatever it is made of.
func TestPacketsFitARecord(t *testing.T) {
	const most = spool.MaxRecord - 128<<10
	for size, taken := range map[int]bool{most: true, most + 1: false} {
		s := script{yaml: fmt.Sprintf("gateway: {id: g}\npolicy: {things: \"\", policies: \"\"}\nlisteners: [{name: l, address: \"127.0.0.1:0\", profile: mqtt, quotas: {packet_size: %dB}}]\n", size)}
		got := strings.Join(s.problems(t, "packet.yaml"), "\n")
		if want := "1920KiB: the spool's records are 2MiB"; taken != (got == "") || !taken && !strings.Contains(got, want) {
			t.Errorf("packet_size of %d bytes: %s", size, got)
		}
	}
	text := strings.Repeat("x", 64<<10-1)
	m := bridge.Message{Topic: text, Properties: bridge.Properties{ContentType: text, ResponseTopic: text, CorrelationData: []byte(text)}}
	for range 8 {
		m.User = append(m.User, bridge.UserProperty{Key: text, Value: text})
	}
	m.Payload = make([]byte, most-20*(64<<10))
	options := spool.DefaultOptions()
	options.Dir = t.TempDir()
	sp, err := spool.Open(options, spool.Deps{Log: slog.New(slog.DiscardHandler), Health: &bridge.Health{}})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	var b bridge.Batch
	b.Append(&bridge.Record{Message: m, Origin: bridge.Origin{Device: text[:128], Thing: text[:128]}, Receivers: []bridge.Receiver{{Queue: "up/cloud/all", Topic: text}}})
	done := make(chan error, 1)
	sp.Commit(&b, func(_ bridge.Seq, err error) { done <- err })
	if err := <-done; err != nil {
		t.Error(err)
	}
}

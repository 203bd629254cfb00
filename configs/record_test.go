package configs

import (
	"fmt"
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
		s := script{yaml: fmt.Sprintf("gateway: {id: g}\npolicy: {things: \"\", policies: \"\"}\nlisteners: [{name: l, address: \"127.0.0.1:0\", profile: mqtt, quotas: {payload_size: %dB, packet_size: 16MiB}}]\n", size)}
		got := strings.Join(s.problems(t, "payload.yaml"), "\n")
		if want := bridge.Size(most).String() + ": the spool's records are " + bridge.Size(spool.MaxRecord).String(); taken != (got == "") || !taken && !strings.Contains(got, want) {
			t.Errorf("payload_size of %d bytes: %s", size, got)
		}
	}
}

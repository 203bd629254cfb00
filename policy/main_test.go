package policy

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustRules(t testing.TB) *rules {
	t.Helper()
	r, err := newRules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fixed is a time for tests that ask for none in particular.
var fixed = time.Date(2027, time.June, 1, 12, 0, 0, 0, time.UTC)

package policy

import (
	"testing"

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

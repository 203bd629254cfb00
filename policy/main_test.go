package policy

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed is a time for tests that ask for none in particular.
var fixed = time.Date(2027, time.June, 1, 12, 0, 0, 0, time.UTC)

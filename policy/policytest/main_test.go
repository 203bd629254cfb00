package policytest

import (
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rules are compiled once for all tests.
var rules = sync.OnceValues(func() (*policy.Desk, error) { return policy.NewDesk(policy.Options{}) })

func newRunner() *Runner { return &Runner{first: rules} }

package filetransfer

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ebbgate/ebbgate/bridge"
)

// A check finds out whether the other side takes files, by a command that leaves
// nothing there, and says what to do when it does not.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		mqtt3  bool
		answer *reply
		from   int // the first command that has this answer, counted from 1
		kind   bridge.Kind
		err    string
	}{
		"takes":               {},
		"takes 3.1.1":         {mqtt3: true},
		"no file transfer":    {answer: &reply{code: noSubscribers, silent: true}, kind: bridge.TopicInvalid, err: "enable file transfer there"},
		"taken as a message":  {answer: &reply{silent: true}, kind: bridge.TopicInvalid, err: "does not answer: enable file transfer there, and allow site-files to subscribe to $file-response/site-files"},
		"denied":              {answer: &reply{code: codeDenied, silent: true}, kind: bridge.NotAuthorized, err: "to publish to $file/…: allow site-files $file/# and $file-async/#"},
		"denied async":        {answer: &reply{code: codeDenied, silent: true}, from: 2, kind: bridge.NotAuthorized, err: "to publish to $file-async/…: allow site-files $file/# and"},
		"denied 3.1.1":        {mqtt3: true, answer: &reply{cut: true}, kind: bridge.NotAuthorized, err: "allow site-files to publish to $file/#"},
		"full":                {answer: &reply{code: codeQuota, silent: true}, kind: bridge.Full, err: "make some"},
		"refused with a word": {answer: &reply{code: 0x80, word: "internal_error"}, kind: bridge.TopicInvalid, err: "internal_error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.mqtt3 = c.mqtt3
				if c.answer != nil {
					w.answer = func(_ string, n int) *reply {
						if n < c.from {
							return nil
						}
						return c.answer
					}
				}
				err := w.target.Check(t.Context())
				if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || bridge.KindOf(err) != c.kind) {
					t.Errorf("%v of kind %v", err, bridge.KindOf(err))
				}
				if slices.ContainsFunc(w.sent, func(verb string) bool { return verb != "abort" }) || c.err == "" && len(w.sent) != 2 || len(w.open) != 0 || len(w.done) != 0 {
					t.Errorf("sent %v, which leaves %v and %v", w.sent, w.open, w.done)
				}
			})
		})
	}
}

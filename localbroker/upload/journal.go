package upload

import (
	"math"
	"slices"
	"time"
)

// Cost is what a transfer has taken.
type Cost struct {
	Messages int64 `json:"messages"`           // commands that came, repeated and refused ones too
	Units    int64 `json:"metered_messages"`   // that AWS would meter of as many PUBLISH packets: M03
	Wire     int64 `json:"wire_bytes"`         // of their packets, without TLS
	Exported int64 `json:"exported_bytes"`     // that went to the target, in attempts that failed too
	AtLeast  bool  `json:"at_least,omitempty"` // a restart has forgotten what was refused or repeated before it
}

// meteredUnit is AWS's unit of metering (M03).
const meteredUnit = 5 << 10

// add counts a command whose topic, payload and properties have size bytes.
func (c *Cost) add(size int) {
	c.Messages++
	c.Units += int64(max(1, (size+meteredUnit-1)/meteredUnit))
	c.Wire += wireSize(size)
}

// wireSize is the size of a PUBLISH on the wire, to a byte or two: what says how
// long its properties are is not known here.
func wireSize(size int) int64 {
	const lengthOfTopic, packetID = 2, 2
	n := int64(size) + lengthOfTopic + packetID
	head := int64(2) // type, and one digit of the length
	for rest := n >> 7; rest > 0; rest >>= 7 {
		head++
	}
	return head + n
}

// Answer is what a device was told about a command.
type Answer struct {
	Command string  `json:"command"` // init, segment, fin
	Offset  int64   `json:"offset"`  // of a segment, else what fin said of the size
	Said    string  `json:"said"`    // success, or the word of the refusal
	Age     float64 `json:"age_seconds"`
}

// mostAnswers is how many are kept of a transfer: successful segments, which say
// nothing, are not.
const mostAnswers = 8

// answered is an Answer as it is kept.
type answered struct {
	verb   verb
	offset int64
	said   string // a constant, or as good as that
	at     time.Duration
}

// journal is what an operator wants to know of a transfer, and nothing else needs.
// Service.mu guards it.
type journal struct {
	cost   Cost
	said   []answered
	heard  time.Duration // when something last came, on the shelf's clock
	rate   float64       // bytes a second, as of heard, see pace
	export *exporting    // under way
	taken  bool          // the target has it
	leave  bool          // it is being given up: no export begins
}

// paceOver is the time over which a rate is averaged, the latest most.
const paceOver = 10 * time.Second

// pace notes bytes that have landed.
func (j *journal) pace(now time.Duration, bytes int64) {
	j.rate = decayed(j.rate, now-j.heard) + float64(bytes)/paceOver.Seconds()
	j.heard = now
}

// speed is the rate now of a transfer that was begun so long ago: in a young one
// the average has not had its time yet.
func (j *journal) speed(now, begun time.Duration) float64 {
	full := 1 - math.Exp(-(now-begun).Seconds()/paceOver.Seconds())
	if full <= 0 {
		return 0
	}
	return decayed(j.rate, now-j.heard) / full
}

func decayed(rate float64, over time.Duration) float64 {
	return rate * math.Exp(-max(over, 0).Seconds()/paceOver.Seconds())
}

// remember keeps an answer.
func (j *journal) remember(a answered) {
	if len(j.said) == mostAnswers {
		j.said = slices.Delete(j.said, 0, 1)
	}
	j.said = append(j.said, a)
}

// toldToWait says that the last thing a device heard was to wait, and why; else
// nothing.
func (j *journal) toldToWait() string {
	if n := len(j.said); n > 0 && j.said[n-1].at >= j.heard {
		for _, f := range []*Fault{errNoSpace, errQuota, errBusy} {
			if j.said[n-1].said == f.Word {
				return "its device is told to wait: " + f.Word
			}
		}
	}
	return ""
}

// noting counts a command of size bytes, length of them its payload, and returns
// what makes its answer one that is noted. A fin is counted at once: its transfer
// may be over when it is answered.
func (s *Service) noting(p pair, cmd command, size, length int) func(answer func(error)) func(error) {
	count := func(t *transfer) { t.journal.cost.add(size) }
	if cmd.verb == verbFin {
		s.journalOf(p, count)
	}
	return func(answer func(error)) func(error) {
		return func(err error) {
			s.journalOf(p, func(t *transfer) {
				if cmd.verb != verbFin {
					count(t)
				}
				t.noteAnswer(s.now(), cmd, length, err)
			})
			answer(err)
		}
	}
}

// noteAnswer keeps what was said to a command.
func (t *transfer) noteAnswer(now time.Duration, cmd command, length int, err error) {
	if err == nil && cmd.verb == verbSegment {
		t.journal.pace(now, int64(length))
		return
	}
	a := answered{verb: cmd.verb, offset: cmd.offset, said: "success", at: now}
	if cmd.verb == verbFin {
		a.offset = cmd.size
	}
	if err != nil {
		a.said = faultOf(err).Word
	}
	t.journal.heard = max(t.journal.heard, now)
	t.journal.remember(a)
}

// journalOf calls fn with the transfer of a pair, if there is one.
func (s *Service) journalOf(p pair, fn func(*transfer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.open[p]
	if t == nil {
		t = s.leaving[p]
	}
	if t != nil {
		fn(t)
	}
}

// restoreJournal makes the journal of a transfer of an earlier start: what its
// segments must have cost.
func (t *transfer) restoreJournal(now time.Duration) {
	c := Cost{AtLeast: true}
	if t.meta != nil {
		c.add(len(rootSync) + len(t.file) + len("/init"))
	}
	for at, where := range t.segments {
		c.add(len(rootSync) + len(t.file) + len("/0") + int(at.length))
		t.journal.heard = max(t.journal.heard, time.Duration(where.age)*time.Second)
	}
	t.journal.heard = min(t.journal.heard, now)
	t.journal.cost = c
}

// costOf is what a transfer has cost so far.
func (s *Service) costOf(t *transfer) *Cost {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := t.journal.cost
	return &c
}

package bridge

import (
	"strings"
	"time"
)

// RawQueue is the queue of what waits for the steps of a route: its records are
// in it as they were accepted until a [Shaper] has made products of them, which
// go to queue. Without a shaper they can be sent from it as they are.
func RawQueue(queue string) string { return rawPrefix + queue }

const rawPrefix = "raw/"

// IsRaw reports whether queue is a raw queue, and names the queue of its
// products.
func IsRaw(queue string) (products string, ok bool) { return strings.CutPrefix(queue, rawPrefix) }

// Line is the steps of one route that change messages or need more than one of
// them. It is for one goroutine, and keeps nothing that must outlive it but in the
// raw queue: what it has taken and not given back yet is given to a new line after
// a restart.
type Line interface {
	// Take gives the line the next record of its queue. What it makes, at once
	// or later, goes to out, in the order in which it is to be sent.
	Take(s *Stored, out func(*Product))

	// Ripe is asked when the queue has been read to its end. It gives out what has
	// waited long enough at the spool's age now, and
	// tells at which age to ask again; ok is false when nothing waits.
	Ripe(now time.Duration, out func(*Product)) (next time.Duration, ok bool)
}

// Summing is a [Line] that puts records of its own back into its queue, which have no
// id.
type Summing interface {
	// Summed tells which message a record will be in, and says what it is when it is
	// one of the line's own.
	Summed(r *Record) (id MessageID, what string)
}

// Product is what a line makes of records: it is appended and they are released,
// in one batch.
type Product struct {
	Records []*Record // what is sent; none when nothing is
	Members []Member  // the raw records that it is made of
	Into    MessageID // the message that the members will be in, when it is not the first of Records

	// Step is the step that kept the members from being sent, when there are no
	// Records: what a person wanted.
	Step string
	// Reason is why the members are dropped, when there are no Records: what
	// nobody wanted. It goes to the drop log.
	Reason string

	// File says that the one record's payload is too large for a message: it goes
	// as a file, and a [Pointer] in its place.
	File bool

	lost    *Stored // what the drop log is told of, when there is a Reason
	detail  string  // of it
	away    int     // bytes that go as a file
	pointer bool    // they have gone
}

// Member is one record of a raw queue.
type Member struct {
	Place Place
	Size  int       // see Record.Size
	ID    MessageID // zero when nobody will ask for it
}

// MaxMembers is how many members a product may have. They are released in one
// transaction of the spool's state.
const MaxMembers = 2048

// nsShape holds the counters of the shapers: <queue>|in, |out, |files, |step/<step>
// and |drop/<reason>.
const nsShape = "shape"

// Shaped is what became of the records that were given to a route's steps, since
// the spool was made. It is counted in the batches that do it, so it is right
// after a crash as well.
type Shaped struct {
	In      int64            // records that the steps are done with
	Out     int64            // products
	Files   int64            // of those: pointers to files
	Steps   map[string]int64 // records that a step kept back, by step
	Dropped map[string]int64 // records that were dropped, by reason
}

// Consumed is how many fewer messages there are than records, other than by
// drops: what is delivered, held, dropped and consumed is what was accepted. It
// is negative where a step makes several messages of one.
func (s Shaped) Consumed() int64 {
	n := s.In - s.Out
	for _, d := range s.Dropped {
		n -= d
	}
	return n
}

// WasShaped reports whether steps have ever made what is in a queue. When that cannot
// be read they may have.
func WasShaped(spool Spool, queue string) bool {
	v, err := spool.Get(nsShape, queue+"|out")
	return err != nil || v != nil
}

// ReadShaped reads what the shapers have counted, by the queue of the products.
func ReadShaped(spool Spool) (map[string]Shaped, error) {
	all := map[string]Shaped{}
	err := spool.Scan(nsShape, "", func(key string, value []byte) bool {
		queue, what, ok := strings.Cut(key, "|")
		if !ok || len(value) != 8 {
			return true
		}
		s, known := all[queue]
		if !known {
			s = Shaped{Steps: map[string]int64{}, Dropped: map[string]int64{}}
		}
		var n int64
		for _, b := range value {
			n = n<<8 | int64(b)
		}
		step, isStep := strings.CutPrefix(what, "step/")
		reason, isDrop := strings.CutPrefix(what, "drop/")
		switch {
		case what == "in":
			s.In = n
		case what == "out":
			s.Out = n
		case what == "files":
			s.Files = n
		case isStep:
			s.Steps[step] = n
		case isDrop:
			s.Dropped[reason] = n
		}
		all[queue] = s
		return true
	})
	return all, err
}

package filetransfer

// How large segments are. They begin small enough for a thin line, and grow while
// the other side takes them: with every piece that is lost they halve, and it takes
// longer until they are doubled again. A side that bounds them (an Ebbgate's
// max_segment, EMQX's max_packet_size) and cannot say so in MQTT 3.1.1 is found out
// that way, too.
const (
	leastPiece = 1 << 10
	firstPiece = 32 << 10
	mostPiece  = 256 << 10

	leastTaken = 4
	mostTaken  = 4096

	// inFlight is how many segments await their answers: with the round trip of a
	// satellite, 600 ms, that is 1.7 MB a second.
	inFlight = 4
)

// pieces is the size of segments, learnt. It is for one goroutine.
type pieces struct {
	size   int
	taken  int // of that size, in a row
	enough int // taken before the size is doubled
}

func newPieces() pieces { return pieces{size: firstPiece, enough: leastTaken} }

// next is the size of the next one for a broker that takes packets of largest bytes,
// 0 for any. An Ebbgate adds 64 KiB for the packet's head to what it takes.
func (p *pieces) next(largest int) int {
	const head = 64 << 10
	switch {
	case largest > head:
		return max(min(p.size, largest-head), leastPiece)
	case largest > 0:
		return max(min(p.size, largest/2), leastPiece)
	}
	return p.size
}

// took notes that one of n bytes was taken.
func (p *pieces) took(n int) {
	if n < p.size {
		return // the last of a file, or bounded
	}
	if p.taken++; p.taken >= p.enough {
		if p.taken, p.enough = 0, max(p.enough/2, leastTaken); p.size < mostPiece {
			p.size *= 2
		}
	}
}

// lost notes that one was not.
func (p *pieces) lost() {
	p.taken, p.enough = 0, min(p.enough*4, mostTaken)
	p.size = max(p.size/2, leastPiece)
}

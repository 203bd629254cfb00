package upstream

import "testing"

// One of several tries a new certificate, and the others come after it was let in.
func TestOneTriesANewCertificate(t *testing.T) {
	const path, elsewhere = "gateway.crt", "other.crt"
	fresh, better := Pair{Cert: [32]byte{1}}, Pair{Cert: [32]byte{2}}
	first, second := new(int), new(string)
	g := NewGate()
	may := func(step string, path string, p Pair, who any, want bool) {
		t.Helper()
		if g.MayTry(path, p, who) != want {
			t.Errorf("%s: want %v", step, want)
		}
	}
	may("the first", path, fresh, first, true)
	may("the first again", path, fresh, first, true)
	may("the second", path, fresh, second, false)
	may("the second with what is there by now", path, better, second, false)
	may("the second with another one's", elsewhere, fresh, second, true)
	g.NoLonger(first)
	may("the second, after the first has gone", path, fresh, second, true)
	may("the first, who came back", path, fresh, first, false)
	g.LetIn("", Pair{}) // somebody without a certificate
	may("the first, after nothing", path, fresh, first, false)
	g.LetIn(path, fresh)
	may("the first, after the second was let in", path, fresh, first, true)
	may("the first, with the next", path, better, first, true)
	may("the second, with the next", path, better, second, false)
	may("the first, with the one before", path, fresh, first, true)
	var none *Gate
	if none.LetIn(path, fresh); !none.MayTry(path, better, first) {
		t.Error("a connection without others may not")
	}
	none.NoLonger(first)
}

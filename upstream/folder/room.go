package folder

// Keep has copies leave room on their disk to others: room fails with what is to be said
// where n bytes more may not be written. It is asked before a copy of so many is begun,
// and with 0 while one grows, which ends it and leaves nothing of it. What is renamed
// takes no room. Call it before the first Put.
func (d *Folder) Keep(room func(n int64) error) { d.room = room }

func (d *Folder) roomFor(n int64) error {
	if d.room == nil {
		return nil
	}
	return d.room(n)
}

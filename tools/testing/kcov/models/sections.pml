/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of descriptors, of the stack of sections on a task, and of softirqs on top of tasks.
 *
 * Each task runs a bounded number of calls, in every order, and exits. A softirq may come between
 * any two steps of a task; the task continues when it has returned. A step is one access of a field
 * that the other side can see, or all work under a spin lock with interrupts off. README.md has the
 * invariants, the configurations, and the list of things that the model leaves out.
 *
 * Names are those of kcov/task.rs, kcov/descriptor.rs, kcov/recording.rs and kcov/remote/. As
 * there, 0 always means none, so that zeroed memory is valid.
 */

#ifndef TASKS
#define TASKS 1
#endif
#ifndef CALLS		/* calls of task 0 */
#define CALLS 4
#endif
#ifndef CALLS_OF_1	/* calls of task 1 */
#define CALLS_OF_1 3
#endif
#ifndef SOFTIRQS	/* softirqs on task 0 */
#define SOFTIRQS 1
#endif
#ifndef SOFTIRQS_OF_1	/* softirqs on task 1 */
#define SOFTIRQS_OF_1 0
#endif
#ifndef DESCRIPTORS
#define DESCRIPTORS 1
#endif
#ifndef TASK_AREAS
#define TASK_AREAS 2
#endif
#define SOFTIRQ_AREAS 1
#define AREAS (TASK_AREAS + SOFTIRQ_AREAS)
#define REGISTRATIONS 6
#define DEPTH 4

/* Contexts */
#define TASK 0
#define SOFTIRQ 1

/* States of a descriptor */
#define FRESH 0
#define READY 1
#define LOCAL 2
#define REMOTE 3

/* States of an area */
#define IN_POOL 0
#define TAKEN 1
#define LENT 2
#define ENDED 3

/* Modes: the scheduler moves a mode aside while it switches tasks. */
#define DISABLED 0
#define ENABLED 1
#define MOVED 2

/* The target of records: a descriptor's buffer, or an area. */
#define AREA(number) (8 + (number))
#define IS_AREA(where) ((where) > 8)
#define AREA_OF(where) ((where) - 8)

typedef Recording {
	byte mode;
	bit softirq;
	byte where;	/* the fields area, capacity and layout, which change together */
	byte section;
};

typedef Fields {
	Recording now;
	byte attached;
	byte remote;
};

typedef Header {
	byte state;
	byte task;
	byte registration;
	bit context;
	byte missed[2];
	bool recorded;
	Recording outer;
};

typedef Descriptor {
	byte state;
	byte registration;
	bool buffer;
	bool control;
	bool file;
	byte references;
};

typedef Stack {
	byte depth;
	byte section[DEPTH];	/* the section of each start that is not stopped yet, or 0 */
};

Fields fields[TASKS];
Header area[AREAS + 1];
Descriptor descriptor[DESCRIPTORS + 1];
/* The registration that the one handle leads to. */
byte table;
byte next_registration = 1;
byte descriptor_of[REGISTRATIONS + 1];

/* A softirq runs on top of the task. */
bool interrupted[TASKS];
/* The task has disabled interrupts. */
bool masked[TASKS];

/* State of the model that the code does not have. */
bool disabled[REGISTRATIONS + 1];
Stack stack[TASKS * 2];
bool exited[TASKS];
bool begun;

/* True if a task records to memory that exists and belongs to the task. */
#define VALID(t, at) \
	((!IS_AREA(at) && (at) > 0 && descriptor[at].buffer && fields[t].attached == (at)) || \
	 (IS_AREA(at) && area[AREA_OF(at)].state == LENT && area[AREA_OF(at)].task == (t)))

/* True if a section belongs to another context than the code that reads it. */
#ifdef BREAK_CONTEXT
#define FOREIGN(section) false
#else
#define FOREIGN(section) (area[section].context != c)
#endif

#define OWN stack[t * 2 + c]

#define LOCALS \
	byte d, e, id, taken, found, outer_section, mark; \
	byte saved, now; \
	bit c; \
	bool done

/* Paused: begin and end. */
inline pause()
{
	saved = fields[t].now.mode;
#ifndef BREAK_PAUSE
	fields[t].now.mode = DISABLED;
#endif
}

inline resume()
{
	d_step {
		fields[t].now.mode = saved;
		saved = 0
	}
}

/* A hook: the mode first. */
inline hook()
{
	now = fields[t].now.mode;
	if
	:: now == ENABLED && (c == TASK || fields[t].now.softirq) ->
		mark = fields[t].now.where;
		d_step {
			assert(VALID(t, mark));
			if
			:: IS_AREA(mark) -> area[AREA_OF(mark)].recorded = true
			:: else
			fi;
			now = 0;
			mark = 0
		}
	:: else -> now = 0
	fi
}

/* Task::set_recording() with the outer recording of `taken`. */
inline set_outer_recording()
{
#ifdef BREAK_ORDER
	fields[t].now.mode = area[taken].outer.mode;
#endif
	fields[t].now.softirq = area[taken].outer.softirq;
	fields[t].now.where = area[taken].outer.where;
	fields[t].now.section = area[taken].outer.section;
	saved = area[taken].outer.mode
}

inline miss()
{
#ifndef BREAK_MISS
	found = fields[t].now.section;
	if
	:: found ->
		now = area[found].missed[c];
		d_step { area[found].missed[c] = now + 1; now = 0; found = 0 }
	:: else
	fi;
#endif
	d_step { OWN.section[OWN.depth] = 0; OWN.depth++ }
}

/* section::start() for the one handle. */
inline start()
{
	if
	:: table == 0 -> miss()
	:: else ->
		pause();
		d_step {
			id = table;
			assert(id == 0 || !disabled[id])
		}
		if
		:: id == 0 -> miss()
		:: else ->
			/* pool::lend() */
			d_step {
				taken = (c == TASK -> 1 : TASK_AREAS + 1);
				do
				:: taken <= (c == TASK -> TASK_AREAS : AREAS) && area[taken].state != IN_POOL -> taken++
				:: else -> break
				od;
				if
				:: taken > (c == TASK -> TASK_AREAS : AREAS) -> taken = 0
				:: else -> area[taken].state = TAKEN
				fi
			}
			if
			:: taken == 0 -> miss()
			:: else ->
				/* Area::lend() */
				d_step {
					area[taken].task = t;
					area[taken].registration = id;
					area[taken].context = c;
					area[taken].missed[0] = 0;
					area[taken].missed[1] = 0;
					area[taken].recorded = false;
					area[taken].outer.mode = saved
				}
				area[taken].outer.softirq = fields[t].now.softirq;
				area[taken].outer.where = fields[t].now.where;
				area[taken].outer.section = fields[t].now.section;
				area[taken].state = LENT;
				/* Paused::begin() */
				fields[t].now.softirq = c;
				fields[t].now.where = AREA(taken);
				fields[t].now.section = taken;
				saved = ENABLED;
				d_step {
					OWN.section[OWN.depth] = taken;
					OWN.depth++;
					taken = 0
				}
			fi
		fi;
		id = 0;
		resume()
	fi
}

/* section::finish(): looks up the sink in the registry again; its lock is taken twice. */
inline finish()
{
	if
	:: area[taken].recorded ->
		d_step {
			id = table;
#ifndef BREAK_REGISTRATION
			if
			:: id != area[taken].registration -> id = 0
			:: else
			fi
#endif
		}
		now = 0;
		do
		:: id && now < 2 ->
			/* Sink::merge() */
			d_step {
				d = descriptor_of[id];
#ifdef BREAK_MERGE
				if
				:: true ->
#else
				if
				:: descriptor[d].state == REMOTE && descriptor[d].registration == id ->
#endif
					assert(descriptor[d].buffer);
					assert(id == area[taken].registration);
					assert(!disabled[id]);
					now++
				:: else -> id = 0
				fi
			}
		:: else -> break
		od;
		atomic { now = 0; id = 0; d = 0 }
	:: else
	fi;
	/* pool::give_back() */
	d_step {
		assert(area[taken].state == ENDED);
		area[taken].state = IN_POOL;
		area[taken].recorded = false;
		area[taken].registration = 0;
		area[taken].task = 0;
		area[taken].context = 0;
		area[taken].outer.mode = 0;
		area[taken].outer.softirq = 0;
		area[taken].outer.where = 0;
		area[taken].outer.section = 0;
		taken = 0
	}
}

/* Paused::unwind(), for an existing section. */
inline unwind()
{
	taken = fields[t].now.section;
	set_outer_recording();
	d_step {
		assert(area[taken].state == LENT && area[taken].task == t);
		area[taken].state = ENDED
	}
}

/* task::stop(). It ends the section that was started last in this context, or none. */
inline stop()
{
	d_step {
		if
		:: OWN.depth -> OWN.depth--; mark = OWN.section[OWN.depth]; OWN.section[OWN.depth] = 0
		:: else -> mark = 0
		fi
	}
	found = fields[t].now.section;
	if
	:: found == 0 -> assert(mark == 0)
	:: else ->
		now = area[found].missed[c];
		if
		:: now ->
			assert(mark == 0);
			d_step { area[found].missed[c] = now - 1; now = 0; found = 0 }
		:: now == 0 && FOREIGN(found) ->
			assert(mark == 0);
			found = 0
		:: now == 0 && !FOREIGN(found) ->
			pause();
			unwind();
			assert(taken == mark);
			found = 0;
			finish();
			resume()
		fi
	fi;
	mark = 0
}

/* Paused::set_bottom() with the recording into the buffer of `d`, or with nothing. */
inline set_bottom(m, at)
{
	found = fields[t].now.section;
#ifdef BREAK_BOTTOM
	found = 0;
#endif
	if
	:: found == 0 ->
		fields[t].now.softirq = 0;
		fields[t].now.where = at;
		fields[t].now.section = 0;
		saved = m
	:: else ->
		do
		:: area[found].outer.section ->
			assert(area[found].state == LENT);
			found = area[found].outer.section
		:: else -> break
		od;
		atomic {
			area[found].outer.mode = m;
			area[found].outer.softirq = 0;
			area[found].outer.where = at;
			area[found].outer.section = 0;
			found = 0
		}
	fi
}

/* The last reference frees the buffer. */
inline put_descriptor(which)
{
	d_step {
		descriptor[which].references--;
		if
		:: descriptor[which].references == 0 ->
			assert(descriptor[which].state < LOCAL);
			assert(!descriptor[which].file);
			descriptor[which].state = FRESH;
			descriptor[which].buffer = false
		:: else
		fi
	}
}

inline lock_control() { atomic { !descriptor[d].control -> descriptor[d].control = true } }
inline unlock_control() { descriptor[d].control = false }

inline open()
{
	d_step {
		if
		:: !descriptor[d].file && descriptor[d].references == 0 ->
			descriptor[d].file = true;
			descriptor[d].references = 1
		:: else
		fi
	}
}

inline init_trace()
{
	d_step {
		if
		:: descriptor[d].state == FRESH ->
			descriptor[d].buffer = true;
			descriptor[d].state = READY
		:: else
		fi
	}
}

inline enable()
{
	pause();
	lock_control();
	if
	:: descriptor[d].state == READY && fields[t].attached == 0 ->
		atomic { !masked[t] -> masked[t] = true }
		if
		:: descriptor[d].state == READY ->
			set_bottom(ENABLED, d);
			d_step {
				fields[t].attached = d;
				descriptor[d].references++;
				descriptor[d].state = LOCAL
			}
		:: else
		fi;
		masked[t] = false
	:: else
	fi;
	unlock_control();
	resume()
}

inline remote_enable()
{
	pause();
	lock_control();
	if
	:: descriptor[d].state == READY && fields[t].remote == 0 && next_registration <= REGISTRATIONS ->
		/* Registration::new() */
		d_step {
#ifdef BREAK_TAKEN
			if
			:: true ->
#else
			if
			:: table == 0 ->
#endif
				id = next_registration;
				next_registration++;
				descriptor_of[id] = d;
				table = id
			:: else -> id = 0
			fi
		}
		if
		:: id ->
			d_step {
				/* The lock is held, so no other code changes the state of a ready descriptor. */
				assert(descriptor[d].state == READY);
				descriptor[d].state = REMOTE;
				descriptor[d].registration = id
			}
			d_step {
				fields[t].remote = d;
				descriptor[d].references++;
				id = 0
			}
		:: else
		fi
	:: else
	fi;
	unlock_control();
	resume()
}

/* Descriptor::leave(), and the end of the task's reference. */
inline leave()
{
	lock_control();
	d_step {
		id = 0;
		if
		:: descriptor[d].state == REMOTE ->
			id = descriptor[d].registration;
			descriptor[d].registration = 0;
			descriptor[d].state = READY
		:: descriptor[d].state == LOCAL -> descriptor[d].state = READY
		:: else
		fi
	}
	if
	:: id ->
#ifndef BREAK_REMOVAL
		d_step {
			/* The writer removes the entries that the registration has inserted. */
			assert(table == id);
			table = 0
		}
#endif
		disabled[id] = true;
		id = 0
	:: else
	fi;
	unlock_control();
	put_descriptor(d)
}

inline detach_local()
{
	set_bottom(DISABLED, 0);
	fields[t].attached = 0;
	leave()
}

inline disable()
{
	pause();
	if
	:: fields[t].attached == d -> detach_local()
	:: fields[t].attached != d && fields[t].remote == d ->
		fields[t].remote = 0;
		leave()
	:: else
	fi;
	resume()
}

inline close()
{
	d_step {
		done = false;
		if
		:: descriptor[d].file ->
#ifdef BREAK_CLOSE
			descriptor[d].buffer = false;
#endif
			descriptor[d].file = false;
			done = true
		:: else
		fi
	}
	if
	:: done -> put_descriptor(d)
	:: else
	fi;
	done = false
}

/* kcov_prepare_switch() and kcov_finish_switch(). */
inline switch_tasks()
{
	atomic { !masked[t] -> masked[t] = true }
	fields[t].now.mode = (fields[t].now.mode == ENABLED -> MOVED : fields[t].now.mode);
	masked[t] = false;
	skip;
	masked[t] = true;
	fields[t].now.mode = (fields[t].now.mode == MOVED -> ENABLED : fields[t].now.mode);
	masked[t] = false
}

/* kcov_task_exit() */
inline exit_task()
{
	pause();
	do
	:: fields[t].now.section ->
		unwind();
		finish()
	:: else -> break
	od;
	d = fields[t].attached;
	if
	:: d -> detach_local()
	:: else
	fi;
	d = fields[t].remote;
	if
	:: d ->
		fields[t].remote = 0;
		leave()
	:: else
	fi;
	resume()
}

/* Descriptors begin with a buffer. */
#define PREPARE(d) \
	descriptor[d].file = true; \
	descriptor[d].references = 1; \
	descriptor[d].buffer = true; \
	descriptor[d].state = READY

/* Between calls, a task without a section records only for the descriptor that it has enabled. */
#define AT_REST(t) \
	(fields[t].now.section || \
	 (fields[t].now.softirq == 0 && fields[t].now.where == fields[t].attached && \
	  fields[t].now.mode == (fields[t].attached -> ENABLED : DISABLED)))

active [TASKS] proctype run_task() provided (!interrupted[_pid])
{
	LOCALS;
	byte left;
	byte t;

	atomic {
		t = _pid;
		c = TASK;
		left = (t == 0 -> CALLS : CALLS_OF_1);
		if
		:: t == 0 ->
#ifdef PREPARED
			PREPARE(1);
#if DESCRIPTORS > 1
			PREPARE(2);
#endif
#endif
			begun = true
		:: t != 0 -> begun
		fi
	}
	do
	:: left ->
		left--;
		if
#ifdef ONLY_SECTIONS_ON_1
		:: t == 0 ->
#else
		:: true ->
#endif
			select(d : 1 .. DESCRIPTORS);
			atomic {
				if
				:: descriptor[d].file -> descriptor[d].references++; e = d
				:: else -> e = 0
				fi
			}
			if
			:: e == 0 -> open()
			:: e -> init_trace()
			:: e -> enable()
			:: e -> remote_enable()
			:: e -> disable()
			:: e -> close()
			fi;
			if
			:: e -> put_descriptor(e)
			:: else
			fi;
			d_step { d = 0; e = 0 }
		:: stack[t * 2].depth < 2 -> start(); hook()
		:: true -> hook(); stop()
		:: true -> switch_tasks()
		fi;
		assert(AT_REST(t));
		hook()
	:: else -> break
	od;
	exit_task();
	d_step {
		assert(fields[t].now.mode == DISABLED && fields[t].now.section == 0);
		assert(fields[t].attached == 0 && fields[t].remote == 0);
		exited[t] = true;
		d = 0
	}
}

active [TASKS] proctype run_softirq()
{
	LOCALS;
	byte left;
	byte t;
	Recording before;

	d_step {
		t = _pid - TASKS;
		c = SOFTIRQ;
		left = (t == 0 -> SOFTIRQS : SOFTIRQS_OF_1)
	}
end:
	do
	::	atomic {
			left && !interrupted[t] && !masked[t] && !exited[t] ->
			interrupted[t] = true;
			left--;
			before.mode = fields[t].now.mode;
			before.softirq = fields[t].now.softirq;
			before.where = fields[t].now.where;
			before.section = fields[t].now.section
		}
		hook();
		if
		:: start(); hook();
			if
			:: start(); hook(); stop()
			:: skip
			fi;
			if
			:: stop()
#ifdef BREAK_SOFTIRQ
			:: skip
#endif
			fi
		:: stop()
		fi;
		atomic {
			/* Every field is as before. */
			assert(before.mode == fields[t].now.mode);
			assert(before.softirq == fields[t].now.softirq);
			assert(before.where == fields[t].now.where);
			assert(before.section == fields[t].now.section);
			before.mode = 0;
			before.softirq = 0;
			before.where = 0;
			before.section = 0;
			interrupted[t] = false
		}
	od
}

/*
 * In every state, a mode promises that the other fields are valid: an interrupt that is not
 * recognised as one yet may call the hook at any moment.
 */
#define PROMISE(t) (fields[t].now.mode == DISABLED || VALID(t, fields[t].now.where))

#if DESCRIPTORS > 1
#define ONE_COLLECTS (!(descriptor[1].state == REMOTE && descriptor[2].state == REMOTE))
#else
#define ONE_COLLECTS true
#endif

#if TASKS > 1
#define HOLDS (PROMISE(0) && PROMISE(1) && ONE_COLLECTS)
#define ALL_EXITED (exited[0] && exited[1])
#else
#define HOLDS (PROMISE(0) && ONE_COLLECTS)
#define ALL_EXITED exited[0]
#endif

active proctype watch()
{
	byte a = 1;

end:
	do
	:: atomic { !(HOLDS) -> assert(PROMISE(0)); assert(ONE_COLLECTS); assert(HOLDS) }
	:: atomic {
		ALL_EXITED ->
		do
		:: a <= AREAS -> assert(area[a].state == IN_POOL); a++
		:: else -> break
		od;
		assert(table == 0);
		break
	   }
	od
}

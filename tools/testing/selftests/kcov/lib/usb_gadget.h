/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A USB device that this program emulates: the host controller, the hub and their driver belong to
 * the kernel, and so does the coverage.
 */
#ifndef KCOV_SELFTEST_USB_GADGET_H
#define KCOV_SELFTEST_USB_GADGET_H

#include <pthread.h>
#include <stdbool.h>

struct usb_gadget {
	int fd;
	pthread_t thread;
	/* Set before usb_gadget_plug_in() to delay the answer to the host. */
	volatile bool hold;
	/* The host has made a request, and waits if hold is set. */
	volatile bool asked;
	/* The host has configured the device. */
	volatile bool configured;
	volatile bool finished;
};

/* Returns NULL if this kernel has the drivers for it, or the reason why not. */
const char *usb_gadget_missing(void);
/* Returns the number of the bus that the device will be on, or a negative errno. */
int usb_gadget_bus(void);
/* Connects the device to the bus; returns a negative errno if it fails. */
int usb_gadget_plug_in(struct usb_gadget *gadget);
/* Waits, for seconds at most, until the flag is set. */
bool usb_gadget_wait(const volatile bool *flag);
/* Disconnects the device; returns false if its thread does not end. */
bool usb_gadget_unplug(struct usb_gadget *gadget);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two simulated radios (mac80211_hwsim) that listen on the same channel: a frame
 * sent by the first is received by the second.
 */
#ifndef KCOV_SELFTEST_WIRELESS_H
#define KCOV_SELFTEST_WIRELESS_H

#include <stdbool.h>

/* Returns NULL if this kernel has the radios, or the reason why not. */
const char *wireless_missing(void);
/* Makes both interfaces listen; returns 0 or a negative errno. */
int wireless_start(void);
/*
 * Takes both interfaces down, gives them the types that they had, and closes what
 * wireless_start() opened; returns 0 or a negative errno.
 */
int wireless_end(void);
/* Takes the receiving interface up or down, as `ip link set wlan1 up` does. */
int wireless_receiver_set(bool up);
/* Sends one frame; returns 0 or a negative errno. */
int wireless_send(void);

#endif

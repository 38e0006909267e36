/*
 * ptrace(2) for user-mode-linux before 6.13 on a processor with AMX.
 *
 * Such a kernel passes PTRACE_SETREGSET the 2696 bytes of register state that processors before AMX had. The host
 * accepts nothing but a whole area, 11008 bytes with AMX, and answers EFAULT (xstateregs_set,
 * https://elixir.bootlin.com/linux/v6.12/source/arch/x86/kernel/fpu/regset.c). The guest then panics with "ptrace set fp
 * regs failed". This function adds the missing bytes. They are zero: no process in the guest may use AMX, because
 * none asks the host for permission (ARCH_REQ_XCOMP_PERM).
 */
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

#define SYS_PTRACE 101L
#define PEEKUSR 3
#define GETREGSET 0x4204
#define SETREGSET 0x4205
#define NT_X86_XSTATE 0x202

extern int *__errno_location(void);

static long call(long request, long pid, long address, void *data)
{
	register void *fourth __asm__("r10") = data;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(SYS_PTRACE), "D"(request), "S"(pid), "d"(address), "r"(fourth)
			 : "rcx", "r11", "memory");
	return result;
}

/* Puts the process's whole register state into `area`, and returns its length. */
static size_t read_whole(long pid, unsigned char *area, size_t room)
{
	struct iovec whole = { area, room };

	return call(GETREGSET, pid, NT_X86_XSTATE, &whole) < 0 ? 0 : whole.iov_len;
}

long ptrace(int request, ...)
{
	static unsigned char area[64 * 1024] __attribute__((aligned(64)));
	static size_t length;
	struct iovec whole;
	va_list rest;
	long pid, address, result, word;
	void *data;

	va_start(rest, request);
	pid = va_arg(rest, int);
	address = va_arg(rest, long);
	data = va_arg(rest, void *);
	va_end(rest);

	/* As in the C library: the system call stores the word that PTRACE_PEEK… returns. */
	if (request > 0 && request <= PEEKUSR)
		data = &word;
	if (request == SETREGSET && address == NT_X86_XSTATE) {
		const struct iovec *part = data;

		if (!length) {
			length = read_whole(pid, area, sizeof(area));
			memset(area, 0, sizeof(area));
		}
		if (part->iov_len < length) {
			memcpy(area, part->iov_base, part->iov_len);
			whole.iov_base = area;
			whole.iov_len = length;
			data = &whole;
		}
	}
	result = call(request, pid, address, data);
	if (result < 0) {
		*__errno_location() = -result;
		return -1;
	}
	if (request > 0 && request <= PEEKUSR) {
		*__errno_location() = 0;
		return word;
	}
	return result;
}

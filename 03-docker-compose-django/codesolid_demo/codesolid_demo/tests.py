"""The project's tests: `make check` runs them, and those of every app that you add."""

from django.contrib.auth import get_user_model
from django.test import TestCase


class AdminTest(TestCase):
    """What the example promises of its admin."""

    def test_a_stranger_is_asked_to_log_in(self):
        """The admin shows nobody more than its form."""
        answer = self.client.get('/admin/')
        self.assertRedirects(answer, '/admin/login/?next=/admin/')

    def test_a_superuser_gets_in(self):
        """A superuser, kept in the database, reaches the first page."""
        user = get_user_model().objects.create_superuser('someone', 'someone@example.com', 'a password')
        self.client.force_login(user)
        self.assertContains(self.client.get('/admin/'), 'Site administration')

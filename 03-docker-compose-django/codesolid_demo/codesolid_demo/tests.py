"""Tests of this project. To run them, and those of your apps: make manage ARGS=test"""

from django.contrib.auth import get_user_model
from django.test import TestCase


class AdminTest(TestCase):
    """The admin asks for a login, and a superuser gets in."""

    def test_a_stranger_is_asked_to_log_in(self):
        """A visitor sees only the login page."""
        answer = self.client.get('/admin/')
        self.assertRedirects(answer, '/admin/login/?next=/admin/')

    def test_a_superuser_gets_in(self):
        """A superuser sees the first page. This works with your own user model, too."""
        user = get_user_model()(is_staff=True, is_superuser=True)
        user.save()
        self.client.force_login(user)
        self.assertContains(self.client.get('/admin/'), 'Site administration')
